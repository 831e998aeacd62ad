"""The Protocols of `interfaces` over the bus: objects served, and their remote twins.

Knows which objects a service has and how processes are kept running; knows no model, no store.
"""
