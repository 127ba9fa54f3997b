"""What every layer may use: settings, errors, clock, ids, logging, security. Imports nothing of ours."""
