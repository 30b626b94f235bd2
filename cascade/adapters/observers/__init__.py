"""Those who watch runs."""
