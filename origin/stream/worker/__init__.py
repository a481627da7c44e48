"""The gunicorn worker, and the connections that it has not given away yet."""
