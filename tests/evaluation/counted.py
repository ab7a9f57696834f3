"""A method that remembers how often it was asked."""

import nibkit as nk


class Counted:
    """A method that remembers how many pairs it explained, and can be made to raise at one of its calls.

    All that it holds but its error changes as it runs, so it is one method for a file, wherever it stops."""

    def __init__(self, stop_at: int = 0, error: type[BaseException] = SystemExit):
        self.calls, self.pairs, self.left, self.error = 0, 0, stop_at, error

    def __call__(self, clip, inputs, num_steps: int = 2):
        self.calls += 1
        self.pairs += len(inputs)
        self.left -= 1
        if self.left == 0:
            raise self.error("stop")
        return nk.nib(clip, inputs, num_steps=num_steps)
