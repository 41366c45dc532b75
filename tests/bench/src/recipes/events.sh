# A script as people write it who have heard of LXD's events: at each event ask for the addresses until there
# are some, and make their routes.
lxc monitor --type lifecycle -f json | while read -r event; do
    case $event in
    *instance-started* | *instance-restarted* | *instance-resumed*) tries=100 ;;
    *) tries=1 ;;
    esac
    while [ $tries -gt 0 ]; do
        addresses=$(lxc list "${GUEST}" -f csv -c 4 </dev/null | grep -Eo '[0-9]+(\.[0-9]+){3}')
        for address in $addresses; do
            ip route replace "$address" dev "${MACVLAN_IF}"
        done
        [ -z "$addresses" ] || break
        sleep 0.1
        tries=$((tries - 1))
    done
done
