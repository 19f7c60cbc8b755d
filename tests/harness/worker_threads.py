"""What a worker of joblib is given to run: it is imported there by name, which a test module is not
where some package of the environment is called `tests`."""

from __future__ import annotations

import os


def pools(threads: int) -> list[int]:
    """Return how many threads each pool of this process has, once the product has set them."""
    os.environ.pop("OMP_NUM_THREADS", None)
    import numpy as np
    from threadpoolctl import threadpool_info

    from touchstone.models import limit_threads

    limit_threads(threads)
    np.ones((64, 64)) @ np.ones((64, 64))
    return [pool["num_threads"] for pool in threadpool_info()]
