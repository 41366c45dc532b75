systemd-sysusers macvlan-shim.conf
if [ -d /run/systemd/system ]; then systemctl daemon-reload || :; fi
# $1: how many versions are installed now. An upgrade ends in post_uninstall.sh of the old version.
if [ "$1" -eq 1 ]; then
    systemctl --no-reload preset macvlan-shimd.service || :
    if [ -d /run/systemd/system ] && systemctl --quiet is-enabled macvlan-shimd.service; then
        systemctl start macvlan-shimd.service || :
    fi
elif [ -f /usr/lib/systemd/system/macvlan-shim.service ]; then
    # The old version has its unit under the former name. The new unit is set like that one.
    if [ -L /etc/systemd/system/multi-user.target.wants/macvlan-shim.service ]; then
        systemctl --no-reload enable macvlan-shimd.service || :
    fi
    if [ -d /run/systemd/system ] && systemctl --quiet is-active macvlan-shim.service; then ran=yes; else ran=no; fi
    /usr/share/macvlan-shim/former-unit.sh leave || :
    if [ -d /run/systemd/system ]; then systemctl daemon-reload || :; fi
    if [ $ran = yes ]; then systemctl start macvlan-shimd.service || :; fi
fi
/usr/share/macvlan-shim/former-unit.sh warn || :
