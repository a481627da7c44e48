"""What of the widget is Python in the browser."""
