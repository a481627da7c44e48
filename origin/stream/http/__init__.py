"""HTTP, server-sent events and WebSocket frames as bytes in, bytes out; no sockets."""
