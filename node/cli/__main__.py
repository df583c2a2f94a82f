"""`python -m tslg.node.cli`: the command line where the script `tslg` is not installed."""

from tslg.node.cli import main

if __name__ == "__main__":
    main()
