"""What belongs to one run and what runs share: settings, failures, counts, resources."""
