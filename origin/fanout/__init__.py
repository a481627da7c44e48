"""From the event log to a region's bus: folds, assigns ids, publishes, repairs."""
