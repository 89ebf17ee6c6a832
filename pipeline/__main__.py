"""`python -m pipeline` is `chainrig`."""

from pipeline.cli import main

if __name__ == "__main__":
    main()
