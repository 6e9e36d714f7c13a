r"""A whole audit as a Ray job.

    ray job submit --address http://HEAD:8265 -- \
        python -m zooaudit.jobs.audit --recipe fmnist-quick --store s3://bucket/prefix

Takes the options of ``zooaudit audit`` (try --help); a recipe file (--recipe mine.toml) travels in the
working directory (--working-dir .). The report goes into the store; fetch it from anywhere with
``zooaudit report --store s3://bucket/prefix --run NAME``. A job that was stopped, killed or failed goes on
when it is submitted again.

Exit codes: 0 done; 2 bad input, or packages missing on the head node; 3 the store cannot be used; 4 too few
models learnt for a verdict; 5 the farm gave up; 130 stopped. ``ray job submit`` itself exits with 0 or 1; the
code is the job's ``driver_exit_code`` and in its log.
"""

from zooaudit.jobs.entry import run

if __name__ == "__main__":
    run("audit")
