# Debian 12 packages, and how what is missing gets installed. Sourced by contrib/demo and
# contrib/test.
# shellcheck disable=SC2034  # used by those
DEPS_BUILD="build-essential cmake ninja-build pkg-config libssl-dev libmicrohttpd-dev
libgnutls28-dev nettle-dev libgmp-dev libplist-dev libsqlite3-dev libpq-dev libxml2-dev libjansson-dev libcbor-dev libinih-dev
libseccomp-dev libcurl4-openssl-dev libp11-kit-dev libqrencode-dev libcmocka-dev python3 openssl curl ca-certificates"
DEPS_TEST="softhsm2 opensc clang-14 clang-format-14 clang-tidy-14 libclang-rt-14-dev cppcheck pmccabe gnutls-bin
nodejs nginx-light git haproxy postgresql-15 freeradius eapoltest openvpn strongswan-pki
libstrongswan-standard-plugins libstrongswan-extra-plugins python3-acme dehydrated python3-jsonschema
openapi-specification"

# deps_install PACKAGE...: asks dpkg first, so that a machine that has everything loses no time.
# A tool that stands on the PATH by other means (nodejs) counts as there.
deps_install() {
    local missing="" package
    for package in "$@"; do
        [ "$package" = nodejs ] && command -v node >/dev/null && continue
        dpkg-query -W -f='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed ||
            missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        echo "Some packages are missing. Run this, then try again:" >&2
        echo "  sudo apt-get install --no-install-recommends$missing" >&2
        return 1
    fi
    echo "installing:$missing"
    # shellcheck disable=SC2086
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
        --no-install-recommends $missing; } >"${TMPDIR:-/tmp}/testudo-apt.log" 2>&1 || {
        tail -n 20 "${TMPDIR:-/tmp}/testudo-apt.log" >&2
        echo "apt-get failed" >&2
        return 1
    }
}

# build KIND DIR [TARGET...]: configures once and builds; output only when it fails.
build() {
    local kind=$1 dir=$2 log
    shift 2
    mkdir -p "$dir"
    log=$dir/build.log
    local args=(-S "$TOP" -B "$dir" -G Ninja -DTD_BUILD="$kind" -DTD_WERROR="${TD_WERROR:-OFF}")
    [ "$kind" = fuzz ] && args+=(-DCMAKE_C_COMPILER=clang-14)
    command -v ccache >/dev/null && args+=(-DCMAKE_C_COMPILER_LAUNCHER=ccache)
    if ! { cmake "${args[@]}" && ninja -C "$dir" "$@"; } >"$log" 2>&1; then
        grep -E 'error|warning|FAILED|CMake Error' -A4 "$log" | head -n 60 >&2
        echo "build $kind failed; the whole log is $log" >&2
        return 1
    fi
}
