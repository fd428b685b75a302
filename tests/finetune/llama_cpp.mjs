// Token ids and greedy tokens of GGUF files as llama.cpp has them, through node-llama-cpp's prebuilt library.
// Called by test_llama_cpp.py with a JSON file: [{file, text, count}]; prints one JSON line a file.
import fs from "fs";
import path from "path";
import {pathToFileURL} from "url";

const place = path.join(process.env.RAGKEEP_LLAMA_CPP, "node_modules", "node-llama-cpp", "dist", "index.js");
const {getLlama} = await import(pathToFileURL(place));
const llama = await getLlama({build: "never", gpu: false});
for (const {file, text, count} of JSON.parse(fs.readFileSync(process.argv[2], "utf8"))) {
    const model = await llama.loadModel({modelPath: file, gpuLayers: 0});
    const ids = model.tokenize(text, false);
    const context = await model.createContext({contextSize: 256});
    const greedy = [];
    for await (const token of context.getSequence().evaluate(ids, {temperature: 0, yieldEogToken: true})) {
        greedy.push(token);
        if (greedy.length >= count) break;
    }
    console.log(JSON.stringify({ids: [...ids], greedy}));
}
process.exit(0);
