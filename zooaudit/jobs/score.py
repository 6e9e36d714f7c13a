"""Ask one suspect a kit's queries, as a Ray job beside the store; the last line is the verdict.

    ray job submit --address http://HEAD:8265 -- \
        python -m zooaudit.jobs.score --store s3://bucket/prefix --kit 4f2a --suspect theirs.safetensors
        --factory their_package.nets:make

Takes the options of ``zooaudit score`` (try --help). The suspect's files travel in the working directory
(--working-dir .), so .gitignore must not name them.

Exit codes: 0 done; 2 bad input, of one of several suspects too (the others are judged), or packages missing
on the head node; 3 the store cannot be used or has no such kit; 7 a suspect's API does not answer, or its
budget is spent; 130 stopped. ``ray job submit`` itself exits with 0 or 1; the code is the job's
``driver_exit_code`` and in its log.
"""

from zooaudit.jobs.entry import run

if __name__ == "__main__":
    run("score")
