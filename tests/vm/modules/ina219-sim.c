// SPDX-License-Identifier: GPL-2.0
/*
 * An I2C bus with one INA219 at 0x40 on it: registers, and wires that can be pulled off.
 *
 * In /sys/devices/platform/ina219-sim:
 *   shunt      register 1 as a signed number, in steps of 10 uV
 *   bus        register 2 as it stands (bits 15-3 in steps of 4 mV, bit 1 conversion ready)
 *   unplugged  1: nothing answers;  0: the chip is back, and has forgotten its settings
 */
#include <linux/i2c.h>
#include <linux/module.h>
#include <linux/platform_device.h>

#define ADDRESS 0x40
#define REGISTERS 6
#define CONFIGURATION 0
#define SHUNT 1
#define BUS 2
#define AFTER_RESET 0x399f
#define RESET BIT(15)

static int number = 1;
module_param(number, int, 0444);
MODULE_PARM_DESC(number, "number of the bus, as in /dev/i2c-N");

static u16 registers[REGISTERS] = { [CONFIGURATION] = AFTER_RESET };
static u8 pointer;
static bool unplugged;
static DEFINE_MUTEX(lock);

static void receive(const struct i2c_msg *msg)
{
	u16 word;

	if (msg->len == 0)
		return;
	pointer = msg->buf[0];
	/* Shunt, bus, power and current are for reading. */
	if (msg->len < 3 || (pointer != CONFIGURATION && pointer != REGISTERS - 1))
		return;
	word = msg->buf[1] << 8 | msg->buf[2];
	if (pointer == CONFIGURATION && word & RESET)
		word = AFTER_RESET;
	registers[pointer] = word;
}

static void answer(struct i2c_msg *msg)
{
	u16 word = pointer < REGISTERS ? registers[pointer] : 0;
	int i;

	for (i = 0; i < msg->len; i++)
		msg->buf[i] = i % 2 ? word & 0xff : word >> 8;
}

static int transfer(struct i2c_adapter *adapter, struct i2c_msg *msgs, int count)
{
	int i;

	mutex_lock(&lock);
	for (i = 0; i < count; i++) {
		if (unplugged || msgs[i].addr != ADDRESS)
			break;
		if (msgs[i].flags & I2C_M_RD)
			answer(&msgs[i]);
		else
			receive(&msgs[i]);
	}
	mutex_unlock(&lock);
	return i == count ? count : -ENXIO;
}

static u32 functionality(struct i2c_adapter *adapter)
{
	return I2C_FUNC_I2C | I2C_FUNC_SMBUS_EMUL;
}

static const struct i2c_algorithm algorithm = {
	.master_xfer = transfer,
	.functionality = functionality,
};

static struct i2c_adapter adapter = {
	.owner = THIS_MODULE,
	.name = "ina219-sim",
	.algo = &algorithm,
};

static ssize_t set_register(int which, int low, int high, const char *text, size_t count)
{
	int value, fault = kstrtoint(text, 0, &value);

	if (fault)
		return fault;
	if (value < low || value > high)
		return -ERANGE;
	mutex_lock(&lock);
	registers[which] = value;
	mutex_unlock(&lock);
	return count;
}

static ssize_t shunt_store(struct device *dev, struct device_attribute *attr, const char *text,
			   size_t count)
{
	return set_register(SHUNT, S16_MIN, S16_MAX, text, count);
}
static DEVICE_ATTR_WO(shunt);

static ssize_t bus_store(struct device *dev, struct device_attribute *attr, const char *text,
			 size_t count)
{
	return set_register(BUS, 0, U16_MAX, text, count);
}
static DEVICE_ATTR_WO(bus);

static ssize_t unplugged_store(struct device *dev, struct device_attribute *attr, const char *text,
			       size_t count)
{
	bool value;
	int fault = kstrtobool(text, &value);

	if (fault)
		return fault;
	mutex_lock(&lock);
	if (unplugged && !value)
		registers[CONFIGURATION] = AFTER_RESET;
	unplugged = value;
	mutex_unlock(&lock);
	return count;
}
static DEVICE_ATTR_WO(unplugged);

static struct attribute *board_attrs[] = {
	&dev_attr_shunt.attr,
	&dev_attr_bus.attr,
	&dev_attr_unplugged.attr,
	NULL
};
ATTRIBUTE_GROUPS(board);

static struct platform_device *board;

static int __init ina219_sim_init(void)
{
	int fault;

	board = platform_device_alloc("ina219-sim", PLATFORM_DEVID_NONE);
	if (!board)
		return -ENOMEM;
	board->dev.groups = board_groups;
	fault = platform_device_add(board);
	if (fault) {
		platform_device_put(board);
		return fault;
	}
	adapter.nr = number;
	adapter.dev.parent = &board->dev;
	fault = i2c_add_numbered_adapter(&adapter);
	if (fault)
		platform_device_unregister(board);
	return fault;
}

static void __exit ina219_sim_exit(void)
{
	i2c_del_adapter(&adapter);
	platform_device_unregister(board);
}

module_init(ina219_sim_init);
module_exit(ina219_sim_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("An INA219 on an I2C bus of its own");
