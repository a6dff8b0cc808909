// SPDX-License-Identifier: GPL-2.0
/*
 * The revision of a Raspberry Pi 4 where a Pi's kernel shows it, by which gpiozero knows its header.
 * A file mounted there would not do: the unit's sandbox mounts a proc of its own.
 */
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>

#define FOLDER "device-tree"

static int revision_show(struct seq_file *file, void *unused)
{
	static const u8 revision[] = { 0x00, 0xc0, 0x31, 0x14 };

	return seq_write(file, revision, sizeof(revision));
}

static int __init pi_model_init(void)
{
	struct proc_dir_entry *tree = proc_mkdir(FOLDER, NULL);
	struct proc_dir_entry *system = tree ? proc_mkdir("system", tree) : NULL;

	if (system && proc_create_single("linux,revision", 0444, system, revision_show))
		return 0;
	remove_proc_subtree(FOLDER, NULL);
	return -ENOMEM;
}

static void __exit pi_model_exit(void)
{
	remove_proc_subtree(FOLDER, NULL);
}

module_init(pi_model_init);
module_exit(pi_model_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("The revision of a Raspberry Pi");
