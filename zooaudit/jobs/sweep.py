r"""A sweep as a Ray job: one zoo, fingerprinted in many ways, trials in parallel on Ray Tune.

    ray job submit --address http://HEAD:8265 -- \
        python -m zooaudit.jobs.sweep answers --recipe fmnist-paper --store s3://bucket/prefix

Takes the arguments of ``zooaudit sweep`` (try --help): a preset, or axes such as points=10,50,100
top_k=0,1,all; a recipe file (--recipe mine.toml) travels in the working directory (--working-dir .). Finished
trials are in the store: the same command goes on with the rest. Fetch table and picture with the same
``zooaudit sweep`` from anywhere: nothing is run again.

Exit codes: 0 done; 2 bad input, or packages missing on the head node; 3 the store cannot be used; 4 models
are missing (add --build); 5 the farm gave up; 130 stopped. ``ray job submit`` itself exits with 0 or 1; the
code is the job's ``driver_exit_code`` and in its log.
"""

from zooaudit.jobs.entry import run

if __name__ == "__main__":
    run("sweep")
