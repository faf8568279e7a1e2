"""Where a reply is shown: pages, mended frames, the pacer, the publisher."""
