"""The widget: ``<live-score>``, its loader, worker and styles, and the runtime they are served with."""
