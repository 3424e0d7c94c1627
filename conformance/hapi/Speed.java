import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.parser.IParser;
import ca.uhn.fhir.validation.FhirValidator;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * Milliseconds that HAPI takes for bytes, parsed, validated, encoded again: Speed PACKAGE SECONDS FILE...
 *
 * One line for each file: the best of all rounds after it has been warmed up on the first file for half of the time.
 */
public class Speed {
  private static final FhirContext CONTEXT = FhirContext.forR4();
  private static int length;

  public static void main(String[] arguments) throws Exception {
    FhirValidator validator = Judge.validator(CONTEXT, arguments[0]);
    double seconds = Double.parseDouble(arguments[1]);
    best(validator, Files.readAllBytes(Path.of(arguments[2])), seconds / 2);
    for (int number = 2; number < arguments.length; number++) {
      System.out.println(best(validator, Files.readAllBytes(Path.of(arguments[number])), seconds));
    }
  }

  private static double best(FhirValidator validator, byte[] given, double seconds) {
    double best = Double.MAX_VALUE;
    long until = System.nanoTime() + (long) (seconds * 1e9);
    do {
      long begun = System.nanoTime();
      IParser parser = CONTEXT.newJsonParser();
      var resource = parser.parseResource(new String(given, StandardCharsets.UTF_8));
      if (!validator.validateWithResult(resource).isSuccessful()) {
        throw new IllegalStateException("it is not valid");
      }
      length += parser.encodeResourceToString(resource).getBytes(StandardCharsets.UTF_8).length; // used, so that it is made
      best = Math.min(best, (System.nanoTime() - begun) / 1e6);
    } while (System.nanoTime() < until);
    return best;
  }
}
