"""How a plan is run. AnyIO and attrs only."""
