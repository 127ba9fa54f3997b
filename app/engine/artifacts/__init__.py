"""Large outputs by content hash, in a folder or in S3: rows and queue messages stay small. docs/artifacts.md."""
