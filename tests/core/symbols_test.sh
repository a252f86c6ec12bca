#!/bin/sh
# symbols_test.sh - the core is pure: from outside it needs memcmp, memcpy and memset, and what
# compilers add by themselves. No system call, clock, log, mutex or malloc can hide there.

archive=${top_builddir:-.}/src/core/libcore.a
defined=$(nm --defined-only "$archive" | awk 'NF == 3 { print $3 }' | sort -u)
needed=$(nm --undefined-only "$archive" | awk 'NF == 2 { print $2 }' | sort -u)
outside=$(printf '%s\n' "$needed" | while read -r name; do
    printf '%s\n' "$defined" | grep -qxF -- "$name" || printf '%s\n' "$name"
done)

n=0
ok()
{
    n=$((n + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $n - $2"
    else
        echo "not ok $n - $2"
    fi
}

# Otherwise nothing was looked at.
for name in table_acquire check_shard repair_rebuild; do
    printf '%s\n' "$defined" | grep -qx "$name"
    ok $? "the archive has $name"
done
printf '%s\n' "$outside" | grep -qxE '(__asan_|__)?memcpy(_chk)?'
ok $? "it needs memcpy"

# bcmp is clang's memcmp.
libc='memcmp|bcmp|memcpy|memset'
# Stack protector, fortified copies, libgcc (bit counting, atomics), the sanitizers, coverage.
compiler='_GLOBAL_OFFSET_TABLE_|__stack_chk_(fail|guard)|__mem(cpy|set)_chk'
compiler="$compiler|__(popcount|clz|ctz)[sdt]i2|__aarch64_.*"
compiler="$compiler|__(asan|ubsan|tsan|msan|sanitizer|gcov|llvm)_.*"
wrong=$(printf '%s\n' "$outside" | grep -vxE "$libc|$compiler|")
[ -z "$wrong" ]
ok $? "nothing else is needed from outside the core"
for name in $wrong; do
    echo "# $name"
done
echo "1..$n"
