"""The servers and processes behind `python3 main.py`: real ones, started, watched and stopped by ours."""
