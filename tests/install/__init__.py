"""`install.sh` on clean roots of Debian 12 and 13, started with their own systemd: `make install-test`."""
