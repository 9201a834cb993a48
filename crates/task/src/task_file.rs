//! task_file
