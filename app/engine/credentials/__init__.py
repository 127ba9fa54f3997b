"""Credentials: what their kinds hold, where they may be sent, and how an attempt gets them."""
