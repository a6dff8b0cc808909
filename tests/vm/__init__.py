"""The whole unit in a virtual machine: `make vm-test`, or `make vm-test QUICK=1` for the short form."""
