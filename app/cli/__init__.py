"""The command line, one module a command; `app.cli.main` lists them."""
