"""The edge: HTTP and streams. ``resume`` and ``sse`` know no transport; everything else carries them."""
