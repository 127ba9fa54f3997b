"""The entry of everything: `python3 main.py [COMMAND]` needs nothing but Python; `uvicorn main:app` is the API alone.

`python3 main.py` alone is `up`: Postgres, Redis, API and workers on this machine, until Ctrl-C. It works from any
folder: `.env` and relative settings such as DATA_DIR are read from the folder that holds this file.
"""

import gc
import os
import sys

if sys.version_info < (3, 11):  # noqa: UP036 - whoever has an older Python must hear it in a sentence
    sys.exit(
        f"AutomateOS needs Python 3.11 or newer, and this is {sys.version_info[0]}.{sys.version_info[1]}: "
        "start it with a newer one, such as `python3.12 main.py`."
    )
if __name__ == "__main__":
    if os.name != "posix":
        sys.exit("AutomateOS runs on Linux and macOS: on Windows, start it inside WSL.")

    from app.bootstrap import main

    main(sys.argv[1:])
else:
    gc.disable()  # what a start makes stays: collections would look through it again and again

    from app.api.application import create_app
    from app.api.startup import end_with_parent, refuse_to_start
    from app.core.config import load_settings
    from app.core.errors import ConfigurationError
    from app.core.logging import configure_logging
    from app.core.memory import spare_startup_heap

    end_with_parent()
    try:
        settings = load_settings()
        configure_logging(settings.log_level, settings.log_format)
        app = create_app(settings)
        spare_startup_heap()
    except ConfigurationError as error:
        refuse_to_start(error)
