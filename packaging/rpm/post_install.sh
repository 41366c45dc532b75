systemd-sysusers macvlan-shim.conf
if [ -d /run/systemd/system ]; then systemctl daemon-reload || :; fi
# $1: how many versions are installed now. An upgrade ends in post_uninstall.sh of the old version.
if [ "$1" -eq 1 ]; then
    systemctl --no-reload preset macvlan-shim.service || :
    if [ -d /run/systemd/system ] && systemctl --quiet is-enabled macvlan-shim.service; then
        systemctl start macvlan-shim.service || :
    fi
fi
