if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || :
    # $1: how many versions are left.
    if [ "$1" -ge 1 ]; then systemctl try-restart macvlan-shimd.service || :; fi
fi
if [ "$1" -eq 0 ]; then
    rm -rf /run/macvlan-shim
    # The package owns files, no folders.
    for folder in /etc/macvlan-shim/conf.d /etc/macvlan-shim /usr/share/macvlan-shim/profiles /usr/share/macvlan-shim/schemas \
        /usr/share/macvlan-shim /usr/share/doc/macvlan-shim/examples /usr/share/doc/macvlan-shim; do
        [ ! -d $folder ] || rmdir --ignore-fail-on-non-empty $folder
    done
fi
