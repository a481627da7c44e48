"""Flask: pages, polls, webhooks, assets, health."""
