// Makes TypeScript models from an AsyncAPI document, and reads messages with them.
//
// node read.js DOCUMENT DIRECTORY < [[model, message], ...]
//
// DIRECTORY gets the models. Prints {"models": [names], "faults": [the compiler's, of messages as
// interfaces], "read": [each message, as a class has read it and written it again]}.
const fs = require("fs");
const path = require("path");
const { pathToFileURL } = require("url");
const { TypeScriptFileGenerator, TS_COMMON_PRESET } = require("@asyncapi/modelina");
const ts = require("typescript");

const [document, directory] = process.argv.slice(2);
const messages = JSON.parse(fs.readFileSync(0, "utf8"));
const interfaces = path.join(directory, "interfaces");
const classes = path.join(directory, "classes");
const used = [...new Set(messages.map(([model]) => model))];

async function generate(folder, options) {
  const input = pathToFileURL(path.resolve(document)).href;
  const generator = new TypeScriptFileGenerator(options);
  return generator.generateToFiles(input, folder, { exportType: "named" });
}

// A generic function keeps the words of a literal and lets unknown keys pass, as JSON.parse does.
function faults() {
  const file = path.join(interfaces, "messages.ts");
  const lines = used.flatMap((model) => [
    `import { ${model} } from "./${model}";`,
    `function as${model}<T extends ${model}>(message: T): void {}`,
  ]);
  lines.push(...messages.map(([model, message]) => `as${model}(${JSON.stringify(message)});`));
  fs.writeFileSync(file, lines.join("\n"));
  const program = ts.createProgram([file], { strict: true, noEmit: true, types: [] });
  return ts.getPreEmitDiagnostics(program).map((fault) => {
    const line = fault.file ? fault.file.getLineAndCharacterOfPosition(fault.start).line : 0;
    const where = fault.file && fault.file.fileName.endsWith("messages.ts") ? lines[line] : "";
    return `${ts.flattenDiagnosticMessageText(fault.messageText, "\n")}\n${where}`;
  });
}

function read() {
  const files = fs.readdirSync(classes).map((name) => path.join(classes, name));
  const program = ts.createProgram(files, { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2020, types: [] });
  program.emit();
  return messages.map(([model, message]) => {
    const made = require(path.resolve(classes, model))[model];
    if (made === undefined) throw new Error(`${model} is no class`);
    return JSON.parse(made.unmarshal(JSON.stringify(message)).marshal());
  });
}

async function main() {
  const made = await generate(interfaces, {
    modelType: "interface",
    enumType: "union",
    mapType: "record",
    rawPropertyNames: true,
  });
  await generate(classes, {
    modelType: "class",
    presets: [{ preset: TS_COMMON_PRESET, options: { marshalling: true } }],
  });
  const models = made.map((model) => model.modelName);
  console.log(JSON.stringify({ models, faults: faults(), read: read() }));
}

main();
