#!/bin/sh
# Installs Tentwatch from this folder without internet, or upgrades it: sudo ./install.sh
#
# The program runs from /opt/tentwatch, a link to /opt/tentwatch-a or /opt/tentwatch-b. A new version is built
# and tested in the folder that is not in use. Then the link changes, in one step for the disk: after a power
# cut at any moment it points to a complete version. The other folder is the previous version.
#
# All code is in functions, and the last line calls main: a truncated script does nothing.
set -eu
umask 022
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
# These redirect Python and cd. sudo removes them, a root shell does not.
unset CDPATH PYTHONPATH PYTHONHOME

LINK=/opt/tentwatch
COMMAND=/usr/local/bin/tentwatch
CONFIGURATION=/etc/tentwatch/tentwatch.toml
STATE=/var/lib/tentwatch
LOCK=/run/tentwatch-installer.lock
# A unit here takes precedence over /etc. It is gone after a restart of the machine, and so is a trial.
TRIAL=/run/systemd/system.control/tentwatch.service
# A version takes 60 MB; the rest is for the unit's own data.
NEEDED_KB=204800
# How long to wait for an answer. A Pi Zero 2 takes a few seconds, a busy one longer.
PATIENCE_S=60
# How long a version must keep running after its first answer.
PROOF_S=5

main() {
    case "${LC_ALL:-${LC_MESSAGES:-${LANG:-}}}" in uk*) ukrainian=1 ;; *) ukrainian= ;; esac
    action=install offline='' yes=''
    for option; do
        case "$option" in
        --offline) offline=1 ;;
        --uninstall) action=uninstall ;;
        --purge) action=purge ;;
        --yes) yes=1 ;;
        --help | -h) usage && exit 0 ;;
        *) usage >&2 && exit 2 ;;
        esac
    done
    [ "$(id -u)" = 0 ] ||
        fail "Only root can do this: sudo $0 $*" \
            "Це може лише root: sudo $0 $*"
    keep_others_out
    trap 'exit 1' HUP INT TERM
    trap finish EXIT
    case $action in
    install) install_it ;;
    uninstall) uninstall ;;
    purge) purge ;;
    esac
    exit 0
}

# Whoever may open a file may lock it: nobody but root may open this one.
keep_others_out() {
    umask 077
    exec 9>"$LOCK"
    umask 022
    flock -n 9 ||
        fail "Another install.sh is running. Wait until it ends." \
            "Інший install.sh уже працює. Дочекайтеся його завершення."
}

usage() {
    say "Usage: sudo ./install.sh [--offline]      install, or upgrade
       sudo ./install.sh --uninstall      remove everything except configuration and counts
       sudo ./install.sh --purge [--yes]  remove these too; --yes: do not ask
--offline: name missing Debian packages, and stop" \
        "Виклик: sudo ./install.sh [--offline]      встановити або оновити
        sudo ./install.sh --uninstall      видалити все, крім налаштувань і даних
        sudo ./install.sh --purge [--yes]  видалити і їх; --yes: не питати
--offline: назвати пакунки Debian, яких бракує, і зупинитися"
}

# say ENGLISH UKRAINIAN
say() { if [ -n "$ukrainian" ]; then printf '%s\n' "$2"; else printf '%s\n' "$1"; fi; }

said=
fail() {
    say "$@" >&2
    said=1
    exit 1
}

# Ends a failed trial. If a command has failed without a message of ours, says what to do.
# shellcheck disable=SC2317  # the trap calls it
finish() {
    code=$?
    trap '' HUP INT TERM
    if [ -e "$TRIAL" ]; then go_back; fi
    [ "$code" = 0 ] || [ -n "$said" ] ||
        say "Stopped half way (see above). The previous version is unchanged.
Run install.sh again." \
            "Зупинено на півдорозі (див. вище). Попередня версія лишилася.
Запустіть install.sh ще раз." >&2
}

systemd_runs() { [ -d /run/systemd/system ]; }
is_a_pi() { grep -qs "Raspberry Pi" /sys/firmware/devicetree/base/model; }

# Install

install_it() {
    check_bundle
    check_machine
    end_stale_trial
    install_debian_packages
    take_over_installation_by_hand
    build
    add_user
    check_configuration
    if [ -n "$to_start" ] && systemd_runs; then try_it; fi
    put_in_place
    enable_i2c
    tell_what_is_next
}

# If a USB stick was pulled too early, the bundle lacks files or parts of them.
check_bundle() {
    cd "$(dirname "$0")"
    say "Checking the bundle" "Перевірка пакета"
    if ! { [ -s SHA256SUMS ] && [ -s made-for ] && sha256sum --quiet --strict -c SHA256SUMS >&2; }; then
        fail "This bundle is damaged or incomplete. Copy or unpack it again.
Nothing was changed." \
            "Пакет пошкоджений або неповний. Скопіюйте або розпакуйте його знову.
Нічого не змінено."
    fi
    version='' arch='' debian_arch='' python=''
    # shellcheck source=/dev/null
    . ./made-for
}

check_machine() {
    # Not uname: a 32-bit system may have a 64-bit kernel.
    here=$(dpkg --print-architecture)
    [ "$here" = "$debian_arch" ] ||
        fail "This bundle is for $arch ($debian_arch), but this system is $here:
use another bundle, or a 64-bit Raspberry Pi OS. Nothing was changed." \
            "Цей пакет для $arch ($debian_arch), а ця система — $here:
візьміть інший пакет або 64-розрядну Raspberry Pi OS. Нічого не змінено."
    has=$(python_version)
    [ "$has" = "$python" ] ||
        fail "This bundle is for Python $python, but this system has $has:
use the bundle cp$(echo "$has" | tr -d .). Nothing was changed." \
            "Цей пакет для Python $python, а в системі $has:
візьміть пакет cp$(echo "$has" | tr -d .). Нічого не змінено."
    free=$(df -Pk /opt 2>/dev/null | awk 'NR == 2 { print $4 }')
    [ "$free" -ge $NEEDED_KB ] ||
        fail "Only $((free / 1024)) MB are free in /opt; $((NEEDED_KB / 1024)) MB are needed.
Free some space. Nothing was changed." \
            "У /opt вільно лише $((free / 1024)) МБ, а треба $((NEEDED_KB / 1024)) МБ.
Звільніть місце. Нічого не змінено."
}

# Python's version, or the one that this Debian would install.
python_version() {
    if command -v python3 >/dev/null; then
        python3 -I -c 'import sys; print("%d.%d" % sys.version_info[:2])'
    else
        case "$(sed -n 's/^VERSION_ID="*\([0-9]*\)"*$/\1/p' /etc/os-release)" in
        12) echo 3.11 ;;
        13) echo 3.13 ;;
        *) echo "?" ;;
        esac
    fi
}

# A killed install.sh left this trial: the service runs from the folder that the next steps would empty.
end_stale_trial() {
    if [ -e "$TRIAL" ]; then go_back; fi
}

install_debian_packages() {
    missing=
    python3 -I -c 'import venv, ensurepip' 2>/dev/null || missing="$missing python3-venv"
    command -v systemd-sysusers >/dev/null || missing="$missing systemd"
    if ! python3 -I -c 'import lgpio' 2>/dev/null; then
        if is_a_pi; then
            missing="$missing python3-lgpio"
        else
            say "This is not a Raspberry Pi and has no python3-lgpio:
sensors on GPIO lines will not work here." \
                "Це не Raspberry Pi, і python3-lgpio тут немає:
датчики на лініях GPIO тут не працюватимуть."
        fi
    fi
    [ -n "$missing" ] || return 0
    say "Missing Debian packages:$missing" "Бракує пакунків Debian:$missing"
    [ -z "$offline" ] ||
        fail "Install them first: sudo apt-get install$missing
Nothing was changed." \
            "Спершу встановіть їх: sudo apt-get install$missing
Нічого не змінено."
    # shellcheck disable=SC2086  # the words are meant
    apt_get install $missing || { apt_get update && apt_get install $missing; } ||
        fail "These Debian packages could not be installed:$missing.
Check the internet connection. Nothing else was changed." \
            "Пакунки Debian не встановлено:$missing.
Чи є інтернет? Більше нічого не змінено."
}

apt_get() {
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq -y --no-install-recommends "$@" >/dev/null
}

# After an installation by hand (docs/install.md) /opt/tentwatch is a folder. It gets a name of its own and the
# link replaces it, in one step (renameat2 with RENAME_EXCHANGE, for which Debian 12 has no command).
take_over_installation_by_hand() {
    if [ -d $LINK ] && [ ! -L $LINK ]; then
        say "Taking over the installation by hand" "Перейняття встановленого вручну"
        rm -rf $LINK-a
        ln -s "$(basename $LINK-a)" $LINK-a
        python3 -I - $LINK $LINK-a <<'EXCHANGE'
import ctypes, os, sys
here, exchange, old, new = -100, 2, *map(os.fsencode, sys.argv[1:])
if ctypes.CDLL(None, use_errno=True).renameat2(here, old, here, new, exchange):
    sys.exit(f"{sys.argv[1]} cannot be renamed: {os.strerror(ctypes.get_errno())}")
EXCHANGE
        sync -f /opt
    fi
    present=$(readlink -f $LINK || true)
    if [ -n "$present" ] && [ ! -x "$present/bin/tentwatch" ]; then present=; fi
    if [ "$present" = $LINK-a ]; then new=$LINK-b; else new=$LINK-a; fi
}

build() {
    say "Building version $version in $new" "Створення версії $version у $new"
    rm -rf "$new"
    # -I: Python imports only what Debian has installed, never files from this folder.
    # --system-site-packages is for lgpio alone: --ignore-installed installs our version of everything else.
    # pip runs from Debian's wheel (part of python3-venv): unpacking it first would double the time.
    python3 -I -m venv --system-site-packages --without-pip "$new"
    for pip in /usr/share/python-wheels/pip-*.whl; do :; done
    # Only the checked wheels: another bundle that was unpacked into the same folder may have left others.
    wheels=$(sed -n 's|^[0-9a-f]*  \(wheels/[^ ]*\.whl\)$|\1|p' SHA256SUMS)
    # shellcheck disable=SC2086  # the words are meant
    "$new/bin/python3" "$pip/pip" --isolated --disable-pip-version-check --quiet install --no-index --no-deps \
        --ignore-installed --no-cache-dir $wheels
    "$new/bin/tentwatch" --help >/dev/null ||
        fail "Version $version does not run here (see above).
The previous version is unchanged." \
            "Версія $version тут не працює (див. вище).
Попередня версія лишилася."
    cp install.sh "$new/install.sh" # for --uninstall, when the bundle is gone
    chmod 755 "$new/install.sh"
}

add_user() {
    say "Adding the user tentwatch" "Додавання користувача tentwatch"
    put systemd/tentwatch.sysusers /etc/sysusers.d/tentwatch.conf
    systemd-sysusers /etc/sysusers.d/tentwatch.conf
}

# put FILE TARGET: copies it completely or not at all
put() {
    mkdir -p "$(dirname "$2")"
    cp "$1" "$2.unfinished"
    chmod 644 "$2.unfinished"
    mv "$2.unfinished" "$2"
}

takes_configuration() { runuser -u tentwatch -- "$1/bin/tentwatch" check-config; }

check_configuration() {
    to_start=
    [ -e $CONFIGURATION ] || return 0
    say "Checking the configuration" "Перевірка налаштувань"
    if takes_configuration "$new" >/dev/null; then
        to_start=1
    elif [ -n "$present" ] && takes_configuration "$present" >/dev/null 2>&1; then
        fail "Version $version does not accept this unit's configuration (see above),
but the present one does: the present one keeps running." \
            "Версія $version не приймає налаштувань (див. вище),
які приймає нинішня: вона працює далі."
    fi
}

# Starts the service with its new unit from the new folder. The disk still has the previous version, so it runs
# after a power cut.
try_it() {
    say "Starting version $version" "Запуск версії $version"
    mkdir -p "$(dirname $TRIAL)"
    sed "s|^ExecStart=$LINK/|ExecStart=$new/|" systemd/tentwatch.service >$TRIAL
    systemctl daemon-reload
    if ! starts "$new"; then
        journalctl -q -n 10 -o cat _SYSTEMD_UNIT=tentwatch.service >&2 || true
        fail "Version $version does not answer after its start (see above):
it is not installed." \
            "Версія $version не відповідає після запуску (див. вище):
її не встановлено."
    fi
}

# starts FOLDER: restarts the service; succeeds if it answers and keeps running
starts() {
    systemctl stop tentwatch.service
    systemctl reset-failed tentwatch.service 2>/dev/null || true # NRestarts begins at 0
    systemctl start --no-block tentwatch.service
    seconds=0
    until answers "$1"; do
        seconds=$((seconds + 1))
        [ $seconds -lt $PATIENCE_S ] && [ "$(property NRestarts)" -lt 3 ] || return 1
        sleep 1
    done
    process=$(property MainPID)
    sleep $PROOF_S
    [ "$process" = "$(property MainPID)" ] && answers "$1"
}

answers() { "$1/bin/tentwatch" status --json >/dev/null 2>&1; }
property() { systemctl show --value -p "$1" tentwatch.service; }

go_back() {
    rm -f $TRIAL
    systemctl daemon-reload
    if [ ! -x $LINK/bin/tentwatch ]; then
        systemctl stop tentwatch.service 2>/dev/null || true
    elif starts $LINK; then
        say "The previous version runs again." "Попередня версія знову працює."
    else
        say "The previous version is in place again, but it does not answer:
sudo journalctl -u tentwatch" \
            "Попередню версію повернуто, але вона не відповідає:
sudo journalctl -u tentwatch" >&2
    fi
}

put_in_place() {
    say "Putting version $version in place" "Запровадження версії $version"
    for unit in systemd/*.service; do put "$unit" "/etc/systemd/system/${unit##*/}"; done
    for rules in systemd/*.rules; do put "$rules" "/etc/udev/rules.d/${rules##*/}"; done
    put systemd/tentwatch-journald.conf /etc/systemd/journald.conf.d/tentwatch.conf
    put systemd/tentwatch.toml $CONFIGURATION.sample
    rm -rf $LINK.unfinished
    ln -s "$(basename "$new")" $LINK.unfinished
    sync
    mv -T $LINK.unfinished $LINK
    ln -sfn $LINK/bin/tentwatch $COMMAND
    for unit in systemd/*.service; do systemctl --quiet enable "${unit##*/}"; done
    sync
    if systemd_runs; then
        rm -f $TRIAL # the service keeps running
        systemctl daemon-reload
        systemctl restart systemd-journald.service
        reload_udev
    fi
}

reload_udev() {
    if systemctl --quiet is-active systemd-udevd.service; then
        udevadm control --reload
        udevadm trigger --subsystem-match=tty
    fi
}

enable_i2c() {
    echo i2c-dev >/etc/modules-load.d/tentwatch.conf
    is_a_pi || return 0
    say "Enabling I2C" "Увімкнення I2C"
    if command -v raspi-config >/dev/null; then
        raspi-config nonint do_i2c 0
    else
        for boot in /boot/firmware/config.txt /boot/config.txt; do
            [ -f $boot ] || continue
            if ! grep -q '^dtparam=i2c_arm=on' $boot; then
                { cat $boot && printf '\n[all]\ndtparam=i2c_arm=on\n'; } >$boot.unfinished
                sync -f $boot.unfinished
                mv $boot.unfinished $boot
                sync -f $boot
            fi
            break
        done
        if systemd_runs; then modprobe i2c-dev || true; fi
    fi
    [ -e /dev/i2c-1 ] ||
        say "The I2C bus works after the next start of the Pi: sudo reboot" \
            "Шина I2C з'явиться після перезавантаження: sudo reboot"
}

tell_what_is_next() {
    say "Tentwatch $version is installed." "Tentwatch $version встановлено."
    if [ ! -e $CONFIGURATION ]; then
        say "Next: sudo tentwatch setup" "Далі: sudo tentwatch setup"
    elif [ -z "$to_start" ]; then
        say "The configuration has faults (see above): correct
$CONFIGURATION, then sudo systemctl restart tentwatch" \
            "У налаштуваннях помилки (вище): виправте
$CONFIGURATION, потім sudo systemctl restart tentwatch"
    elif systemd_runs; then
        say "It runs: sudo tentwatch status" "Працює: sudo tentwatch status"
    else
        say "It was not started, because systemd does not run here.
It will start with the machine." \
            "Не запущено: systemd тут не працює.
Запуститься разом із системою."
    fi
}

# Remove

uninstall() {
    say "Removing Tentwatch; $(dirname $CONFIGURATION) and $STATE stay" \
        "Видалення Tentwatch; $(dirname $CONFIGURATION) і $STATE лишаються"
    for unit in /etc/systemd/system/tentwatch*.service; do
        [ -e "$unit" ] || continue
        systemctl --quiet disable "${unit##*/}"
        if systemd_runs; then systemctl stop "${unit##*/}"; fi
        rm -f "$unit"
    done
    rm -f $TRIAL $COMMAND /etc/udev/rules.d/*-tentwatch.rules /etc/modules-load.d/tentwatch.conf \
        /etc/sysusers.d/tentwatch.conf /etc/systemd/journald.conf.d/tentwatch.conf $CONFIGURATION.sample
    rmdir /etc/systemd/journald.conf.d /etc/sysusers.d 2>/dev/null || true # others may have files there
    rm -rf $LINK $LINK.unfinished $LINK-a $LINK-b /run/tentwatch
    if systemd_runs; then
        systemctl daemon-reload
        reload_udev
    fi
    say "Done. The user tentwatch stays, because it owns these files." \
        "Готово. Користувач tentwatch лишається, бо ці файли його."
}

purge() {
    id=$(sed -n 's/^id *= *"\([A-Za-z0-9_-]*\)".*/\1/p' $CONFIGURATION 2>/dev/null | head -n 1)
    id=${id:-yes}
    if [ -z "$yes" ]; then
        [ -t 0 ] ||
            fail "This deletes all counts and must ask, but there is no terminal.
With --yes it does not ask." \
                "Це видалить усі лічильники, а запитати ніде: немає термінала.
З --yes не запитує."
        say "This deletes the configuration, all counts and every message not yet sent.
Type $id to go on:" \
            "Це видалить налаштування, усі лічильники й ненадіслані повідомлення.
Щоб продовжити, наберіть $id:"
        read -r answer || answer=
        case "$answer" in
        "$id" | yes) ;;
        *) fail "Nothing was changed." "Нічого не змінено." ;;
        esac
    fi
    uninstall
    rm -rf "$(dirname $CONFIGURATION)" $STATE /etc/credstore/tentwatch.*
    if getent passwd tentwatch >/dev/null; then userdel tentwatch; fi
    say "Configuration, counts and user are deleted." "Налаштування, лічильники й користувача видалено."
}

main "$@"
