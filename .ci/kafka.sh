# Sourced by the parts that need a real Kafka: its jars, its tools, a broker on loopback.
# Sets: kafka, jars, java_version, scratch, java, tool. Ends, with all that was started, when the script ends.

kafka=4.2.0
# Without it Kafka logs nothing, not even why it stops.
log4j=2.25.3

# Outside the checkout, and kept for the next time.
jars=${XDG_CACHE_HOME:-$HOME/.cache}/ottla-ci/kafka/$kafka-$log4j
part=$(basename "$0")
scratch=$(mktemp -d)
cleanup() {
    local pid
    # Not in order: what they would still write goes with the directory.
    for pid in $(jobs -pr); do
        kill -9 "$pid" && wait "$pid" || true
    done 2>/dev/null
    rm -rf "$scratch"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# fail WHAT [FILE]: FILE holds what the other side says of it.
fail() {
    echo "$part: FAILED: $1" >&2
    [ $# -lt 2 ] || tail -n 40 "$2" >&2
    exit 1
}

began=$SECONDS
ok() {
    echo "$part: $1: ok ($((SECONDS - began)) s)"
    began=$SECONDS
}

# need COMMAND PACKAGE
need() {
    command -v "$1" >/dev/null && return
    [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null || fail "there is no $1: install $2"
    apt-get update -qq && apt-get install -y -qq --no-install-recommends "$2" >"$scratch/install" 2>&1 \
        || fail "cannot install $2" "$scratch/install"
}

# Fetches the jars, in three tries, unless an earlier run has.
fetch_jars() {
    [ ! -d "$jars" ] || return 0
    local try part="$jars.part.$$"
    need mvn maven
    # Its lines may begin with colours.
    mvn --batch-mode --version 2>&1 | sed -n "s/.*\(Apache Maven [0-9.]*\).*/\1 fetches Kafka $kafka/p"
    cat >"$scratch/pom.xml" <<END
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>ottla</groupId><artifactId>kafka-jars</artifactId><version>0</version><packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$kafka</version>
    </dependency>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>$kafka</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>$log4j</version>
    </dependency>
  </dependencies>
</project>
END
    for try in 1 2 3; do
        rm -rf "$part"
        if timeout 300 mvn --batch-mode --file "$scratch/pom.xml" dependency:copy-dependencies \
            -DincludeScope=runtime -DoutputDirectory="$part" >"$scratch/mvn" 2>&1; then
            # Another run may have been faster.
            mv -T "$part" "$jars" 2>/dev/null || rm -rf "$part"
            [ -d "$jars" ] && return
        fi
    done
    rm -rf "$part"
    fail "Maven cannot fetch Kafka $kafka, in three tries" "$scratch/mvn"
}

need java default-jdk-headless
java_version=$(java -XshowSettings:properties -version 2>&1 | sed -n 's/^ *java\.version = //p')
[ "${java_version%%[.-]*}" -ge 17 ] || fail "Kafka $kafka needs Java 17 or newer, and this is $java_version"
fetch_jars

cat >"$scratch/log4j2.yaml" <<END
Configuration:
  Appenders:
    Console:
      name: stderr
      target: SYSTEM_ERR
  Loggers:
    Root:
      level: WARN
      AppenderRef:
        ref: stderr
END
# The star is Java's.
java=(java -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$jars/*"
    "-Dlog4j2.configurationFile=$scratch/log4j2.yaml")
tool=(timeout --foreground 60 "${java[@]}")

# format NAME DIR: makes it the directory of a new broker, with the configuration NAME.properties and port $port. What
# stands in NAME.more is part of the configuration.
format() {
    local controller cluster
    # Both at once, so that they differ.
    read -r port controller < <(python3 -c '
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(socket.getsockname()[1] for socket in sockets))')
    # The broker's log of its cluster lies in the same directory, as it does by default.
    cat >"$scratch/$1.properties" <<END
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=$2
END
    [ ! -f "$scratch/$1.more" ] || cat "$scratch/$1.more" >>"$scratch/$1.properties"
    cluster=$("${tool[@]}" kafka.tools.StorageTool random-uuid)
    "${tool[@]}" kafka.tools.StorageTool format -t "$cluster" -c "$scratch/$1.properties" >"$scratch/format" 2>&1 \
        || fail "Kafka's tool cannot format $2" "$scratch/format"
    [ -f "$2/meta.properties" ] || fail "Kafka's tool has not formatted $2" "$scratch/format"
}

# await WHAT FILE COMMAND…: runs the command until it succeeds.
await() {
    local what=$1 file=$2 deadline=$((SECONDS + 60))
    shift 2
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || fail "$what: not within 60 s" "$file"
        sleep 0.1
    done
}

has_ended() { ! jobs -pr | grep -qx "$1"; }
listens_or_has_ended() { (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || has_ended "$1"; }

# start NAME: a broker with the configuration NAME.properties; its process is $broker, and what it says is in NAME.
start() {
    "${java[@]}" kafka.Kafka "$scratch/$1.properties" >"$scratch/$1" 2>&1 &
    broker=$!
    await "the start of a broker" "$scratch/$1" listens_or_has_ended "$broker"
    ! has_ended "$broker" || fail "a broker cannot start on its own directory" "$scratch/$1"
}
