#!/bin/sh
# From patients to a judged model, one recorded command after another.
set -e
whence exec --out table=patients.csv --as table=dataset:patients -- python table.py {table}
whence exec --in table=patients.csv --out rows=rows --as rows=dataset:rows -- python prepare.py {table} {rows}
whence exec --in rows=rows --out model=model.json --as model=model:diabetes --param alpha=0.001 --param l1_ratio=0.9 \
    -- python train.py {rows} {model} --alpha {alpha} --l1-ratio {l1_ratio}
whence exec --in rows=rows --in model=model.json --metrics metrics.json -- python evaluate.py {rows} {model} metrics.json
