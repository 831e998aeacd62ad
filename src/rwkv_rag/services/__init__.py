"""The Protocols of `interfaces` over a transport.

    contracts   which Protocols each service offers, and how each method is called
    remote      the client's side: an object with a Protocol's methods, which makes calls of them
    serve       the server's side: a handler that makes method calls of what arrives

Knows no implementation of a Protocol and no socket.
"""
