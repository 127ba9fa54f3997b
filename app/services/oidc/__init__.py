"""Sign-in by OpenID Connect: the provider says who somebody is, and we give them a session."""
