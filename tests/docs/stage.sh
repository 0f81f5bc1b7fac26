# The container runs as another user, who must get here.
umask 022
# What is written below these folders stays on this stage.
mkdir "$STAGE/disk" "$STAGE/home" "$STAGE/bin"
mount -t tmpfs tmpfs "$STAGE/disk"
for folder in /etc /var/lib; do
  mkdir -p "$STAGE/disk$folder/upper" "$STAGE/disk$folder/work"
  mount -t overlay overlay -o "lowerdir=$folder,upperdir=$STAGE/disk$folder/upper,workdir=$STAGE/disk$folder/work" $folder
done
# Where everybody may run it, wherever it was built.
mkdir "$STAGE/image"
touch "$STAGE/image/setu"
mount --bind "$BINARY" "$STAGE/image/setu"
export HOME=$STAGE/home PATH=$REPOSITORY/tests/docs/stand-ins:$PATH
cd "$HOME"
# Begun from a checkout: what tests/run does is what runs this.
mkdir tests
printf '#!/bin/sh\nbash -n "$REPOSITORY/tests/run"\n' >tests/run
chmod +x tests/run
# certbot has been here.
mkdir -p /etc/letsencrypt/live/turn.example.org
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=turn.example.org \
  -addext subjectAltName=DNS:turn.example.org -keyout /etc/letsencrypt/live/turn.example.org/privkey.pem \
  -out /etc/letsencrypt/live/turn.example.org/fullchain.pem
