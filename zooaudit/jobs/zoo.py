r"""The zoo alone as a Ray job: trains what the store does not hold yet.

    ray job submit --address http://HEAD:8265 -- \
        python -m zooaudit.jobs.zoo --recipe fmnist-paper --store s3://bucket/prefix

Takes the options of ``zooaudit zoo`` (try --help); a recipe file (--recipe mine.toml) travels in the working
directory (--working-dir .). An audit of the same recipe on the same store then trains nothing.

Exit codes: 0 done; 2 bad input, or packages missing on the head node; 3 the store cannot be used; 4 the
victim did not learn; 5 the farm gave up; 130 stopped. ``ray job submit`` itself exits with 0 or 1; the code
is the job's ``driver_exit_code`` and in its log.
"""

from zooaudit.jobs.entry import run

if __name__ == "__main__":
    run("zoo")
