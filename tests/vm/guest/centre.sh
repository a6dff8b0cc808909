# In the guest: the tent's side of the wire is 10.9.0.2 on "tent", the centre's 10.9.0.1 on "centre".
set -eu
ip netns add centre
ip link add tent type veth peer name centre netns centre
ip address add 10.9.0.2/24 dev tent
ip link set tent up
ip -n centre address add 10.9.0.1/24 dev centre
ip -n centre link set centre up
ip -n centre link set lo up

cat >/run/broker.conf <<CONF
listener 1883 0.0.0.0
allow_anonymous true
max_queued_messages 0
user root
CONF
systemd-run --quiet --unit=broker ip netns exec centre mosquitto -c /run/broker.conf
# -c keeps the session, so that nothing is missed. A line: topic, time of arrival, retained, payload.
systemd-run --quiet --unit=subscriber -p Restart=always -p RestartSec=0.2 \
  -p StandardOutput=append:/host/received.txt -p StandardError=journal \
  ip netns exec centre mosquitto_sub -h 127.0.0.1 -q 1 -c -i dashboard -t 'tents/#' -F '%t %U %r %p'
