"""Documents that last: a log of commits under the extension points of TinyDB."""
