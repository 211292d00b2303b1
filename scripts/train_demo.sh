#!/bin/sh
# Train both networks on a synthetic cohort, in minutes on two cores: scripts/train_demo.sh OUT
#
# 24 slabs of 100 mm with about five nodules each; every fourth validates. Needs an environment
# with luna in PATH, as `make train-demo` has.
set -eu
out=${1:-train-demo}
here=$(dirname "$0")/..
rm -rf "$out"
luna phantom "$out/cohort" --scans 24 --seed 11 --processes 2 --quiet \
    --set slab_mm=100 --set without_nodules=0 --set extra_nodules=4
luna prep "$out/cohort" --cache "$out/cache"
luna train-seg "$out/cache" --config "$here/configs/tiny-seg.toml" --runs "$out/runs" --name demo
luna train-cls "$out/cache" --config "$here/configs/tiny-cls.toml" --runs "$out/runs" --name demo
python "$here/scripts/plot_runs.py" "$out"/runs/*-demo --out "$out/curves.png"
echo "curves: $out/curves.png"
echo "watch:  tensorboard --logdir $out/runs"
