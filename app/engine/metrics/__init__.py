"""What a process counts and measures, and how Prometheus and people come to see it."""
