"""Safe file operations below one folder, and what file systems and operating systems differ in."""
