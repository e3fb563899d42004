#!/bin/sh
# Stands in for lichen-wasmc: each class ends in another way. What was compiled is the module itself, and each run
# leaves a line in the state directory.
if [ "$1" = version ]; then
    for class in good refused limit killed fault; do echo "$class 1111 a stand-in"; done
    exit 0
fi
class=$3 output=$5 input=$6
echo "$class" >> "$(dirname "$output")/../../runs"
case $class in
    good) cat "$input" > "$output" ;;
    refused) echo "it imports env.magic" >&2; exit 2 ;;
    limit) echo "the time limit was hit" >&2; exit 3 ;;
    killed) kill -9 $$ ;;
    *) echo "a fault" >&2; exit 1 ;;
esac
