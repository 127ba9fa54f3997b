"""The only modules that know RQ."""
