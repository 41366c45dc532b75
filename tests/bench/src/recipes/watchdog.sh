# The watchdog that is passed around for Docker, unchanged: every 5 s it checks whether the route is there and
# adds it if not. But the original has one route, written down by its owner. To follow a guest, the addresses
# must be asked for.
echo "Macvlan watchdog started..."
while true; do
    if /sbin/ip link show "${MACVLAN_IF}" >/dev/null; then
        for ROUTE_NET in $(lxc list "${GUEST}" -f csv -c 4 | /bin/grep -Eo '[0-9]+(\.[0-9]+){3}'); do
            if ! /sbin/ip route show dev "${MACVLAN_IF}" | /bin/grep -q "${ROUTE_NET}"; then
                echo "Route missing! Attempting to restore ${ROUTE_NET}..."
                if /sbin/ip route add "${ROUTE_NET}" dev "${MACVLAN_IF}" 2>&1; then
                    echo "Route successfully restored."
                else
                    echo "Failed to restore route! See error above."
                fi
            fi
        done
    fi
    sleep 5
done
